"""The domain: what a fine-tuning job is, and the rules for its values. Knows no SQL."""
