"""The run folder's own file of settings."""

from pathlib import Path

from pld_dspy.run.folder import RunFolder


def test_settings_that_were_damaged_in_the_file_are_whole_again_when_the_compile_goes_on(tmp_path: Path) -> None:
    folder, settings = RunFolder(tmp_path / "run"), {"student": {"lm": {"model": "m"}}, "seed": 0}
    folder.open(settings, resume=True, command={"kind": "tables"})
    folder.config.write_text(f"fingerprint: {folder.fingerprint}\nstudent: 1.5\ncommand: {{kind: tables}}\n")
    folder.open(settings, resume=True)
    assert folder.settings() == {"fingerprint": folder.fingerprint, **settings, "command": {"kind": "tables"}}
