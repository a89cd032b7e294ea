"""Export: the compiled prompt as files for other programs, byte for byte as it was scored."""

from typing import Literal

Format = Literal["dspy", "mlflow", "text", "openai", "llama.cpp", "vllm", "ollama", "promptfoo"]
"""The formats of an export."""
