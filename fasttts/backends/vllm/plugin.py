"""vLLM plugin, called in each of its processes: registers models that vLLM lacks."""

_ARCHITECTURE = "Qwen2ForPrmModel"


def register() -> None:
    """Registers the model plugin; may be called any number of times."""
    from vllm import ModelRegistry

    if _ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(
            _ARCHITECTURE, f"fasttts.backends.vllm.qwen2_prm:{_ARCHITECTURE}"
        )
