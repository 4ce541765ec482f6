"""How each kind of verifier is prompted; pure, given the verifier's tokenizer."""
