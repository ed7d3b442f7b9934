"""What a fine-tuning job is and what may be asked of it. Knows no SQL."""
