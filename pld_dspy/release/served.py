"""The compiled program as an MLflow model from code: MLflow keeps a copy of this file, and nothing is pickled.

It needs pld_dspy only where the student is a local model or is prompted by a ``LabelAdapter``. Its language model is
the run's student, with the key that DSPy finds in the environment; ``STUDENT_MODEL`` and ``STUDENT_API_BASE`` in the
environment name another model or address.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

import dspy
import mlflow
import pandas as pd


class CompiledProgram(mlflow.pyfunc.PythonModel):
    """Answers rows of inputs with labels, as the compiled ``dspy.Predict`` does."""

    def load_context(self, context: Any) -> None:
        """Build the program of program.json, its language model and its adapter."""
        config = context.model_config
        label: Any = Literal.__getitem__(tuple(config["labels"]))
        fields: dict[str, Any] = {name: (str, dspy.InputField()) for name in config["inputs"]}
        fields[config["label_field"]] = (list[label] if config["several"] else label, dspy.OutputField())
        self.label_field = config["label_field"]
        self.program = dspy.Predict(dspy.Signature(fields))
        self.program.load_state(json.loads(Path(context.artifacts["program"]).read_text(encoding="utf-8")))
        self.lm, self.adapter = _lm(config["lm"]), _adapter(config)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return one label per row, or a list of labels where an answer may hold several."""
        with dspy.context(lm=self.lm, adapter=self.adapter):
            found = [self.program(**row)[self.label_field] for row in model_input.to_dict("records")]
        return pd.DataFrame({self.label_field: found})


def _lm(settings: dict[str, Any]) -> dspy.LM:
    settings = dict(settings)
    model, local = settings.pop("model"), settings.pop("server", None)
    other, address = os.environ.get("STUDENT_MODEL"), os.environ.get("STUDENT_API_BASE")
    kind = settings.pop("type")
    if local and not other:
        if not address:
            from pld_dspy import local_lm

            return local_lm(f"local:{model.partition('/')[2]}", **settings)
        settings["api_key"] = os.environ.get("OPENAI_API_KEY", "local")  # a server of one's own asks for none
    return dspy.LM(other or model, model_type=kind, **settings, **({"api_base": address} if address else {}))


def _adapter(config: dict[str, Any]) -> dspy.Adapter:
    if config["adapter"] != "LabelAdapter":
        adapter: dspy.Adapter = getattr(dspy, config["adapter"])()
        return adapter
    from pld_dspy import LabelAdapter

    constrain = config["constrain"]
    if constrain == "auto" and "server" in config["lm"] and not os.environ.get("STUDENT_MODEL"):
        constrain = "grammar"  # as for the local model, also where another llama.cpp server serves it
    return LabelAdapter(constrain=constrain)


mlflow.models.set_model(CompiledProgram())
