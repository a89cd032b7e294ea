"""What the library takes from within DSPy is as it was; with another version, what has changed is listed."""

import importlib
import inspect
from typing import Any

import dspy
from engine import calls
from tasks import Mail, student_lm
from test_structure import FOLDERS, ROOT, imports

from pld_dspy.ledger.dspy_names import BOOKKEEPING, default_adapter

WRITTEN_FOR = "3.4"
TAKEN = {
    "dspy.adapters.utils.format_field_value": "field_info, value, assume_text",
    "dspy.signatures.signature.infer_prefix": "attribute_name",
    "dspy.teleprompt.Teleprompter.compile": "self, student, trainset, teacher, valset, kwargs",
    "dspy.utils.callback.BaseCallback.on_lm_start": "self, call_id, instance, inputs",
    "dspy.utils.callback.BaseCallback.on_module_start": "self, call_id, instance, inputs",
    "dspy.utils.saving.get_dependency_versions": "",
    "dspy.utils.usage_tracker.UsageTracker": "",
    "dspy.Adapter.__call__": "self, lm, lm_kwargs, signature, demos, inputs",
    "dspy.Adapter.acall": "self, lm, lm_kwargs, signature, demos, inputs",
    "dspy.Adapter.format": "self, signature, demos, inputs",
    "dspy.Adapter.format_demos": "self, signature, demos",
    "dspy.Adapter.format_system_message": "self, signature",
    "dspy.Adapter.format_user_message_content": "self, signature, inputs, prefix, suffix, main_request",
    "dspy.Adapter.format_assistant_message_content": "self, signature, outputs, missing_field_message",
    "dspy.Adapter.parse": "self, signature, completion",
    "dspy.AdapterParseError": "adapter_name, signature, lm_response, message, parsed_result",
    "dspy.Module.dump_state": "self, json_mode",
    "dspy.Module.load_state": "self, state, allow_unsafe_lm_state",
    "dspy.Module.named_sub_modules": "self, type_, skip_compiled",
    "dspy.Signature.with_instructions": "instructions",
}
"""Name -> its parameters."""


def parameters(path: str) -> str:
    module, *names = path.split(".")
    found: Any = importlib.import_module(module)
    for name in names:
        module = f"{module}.{name}"
        try:
            found = getattr(found, name)
        except AttributeError:
            found = importlib.import_module(module)
    return ", ".join(inspect.signature(inspect.unwrap(found)).parameters)


def test_names_within_dspy_are_as_the_library_was_written_for():
    changed = []
    for path, expected in TAKEN.items():
        try:
            found = parameters(path)
        except (ImportError, AttributeError) as error:  # noqa: PERF203 - a short list
            changed.append(f"{path} is gone: {error}")
        else:
            changed += [f"{path} takes ({found}), where it took ({expected})"] * (found != expected)
    predictor, lm = dspy.Predict(Mail), student_lm()
    for owner, names in (
        (predictor, ("signature", "demos", "config", "fields", "lm", *BOOKKEEPING)),
        (lm, ("kwargs", "model", "model_type", "supports_reasoning", "supports_response_schema", "supported_params")),
        (dspy.settings, ("lm", "adapter", "callbacks", "trace", "max_trace_size", "num_threads")),
    ):
        changed += [f"{type(owner).__name__} has no {name!r}" for name in names if not hasattr(owner, name)]
    assert not changed, f"DSPy {dspy.__version__} differs from {WRITTEN_FOR}:\n" + "\n".join(changed)


def test_the_default_adapter_is_dspys():
    lm = student_lm()
    for adapter in (None, default_adapter()):
        with dspy.context(lm=lm, adapter=adapter):
            dspy.Predict(Mail)(text="a mail")
    asked = [call.messages for call in calls(lm)]
    assert asked[0] == asked[1], f"the default adapter of DSPy {dspy.__version__} is another one"


def test_only_one_module_reaches_into_dspy():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            deep = {name for name in imports(path) if name.startswith("dspy.") and name.count(".") > 1}
            deep = {name for name in deep if not name.startswith("dspy.experimental.")}  # is named by users too
            assert not deep or path.name == "dspy_names.py", f"{path.relative_to(ROOT)} imports {deep}"
