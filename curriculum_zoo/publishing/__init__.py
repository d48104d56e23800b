"""Publishing: model cards, and commits on the Hugging Face Hub."""
