"""Write a model as llama.cpp's GGUF, and prove that llama.cpp answers from it as the trainer's model does."""
