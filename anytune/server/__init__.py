"""Serve over HTTP what OpenAI's clients ask for, chat completions by tuned models; and take providers' webhooks in."""
