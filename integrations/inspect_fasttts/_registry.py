"""The entry point of inspect-ai, which names the provider `fasttts`."""

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="fasttts")
def fasttts() -> type[ModelAPI]:
    """Loads the provider when a model of it is first asked for."""
    from inspect_fasttts.provider import FastTTSAPI

    return FastTTSAPI
