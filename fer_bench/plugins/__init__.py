"""Methods as plugins: discovery, loading, presets, hashes of code, and templates for new ones."""
