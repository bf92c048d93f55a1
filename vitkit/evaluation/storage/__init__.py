"""A run on disk: what is written is whole, is known again, and is shared between processes."""
