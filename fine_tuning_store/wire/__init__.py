"""The JSON shapes of the OpenAI API, in and out."""
