"""Tables, figures and pages from finished runs. Everything here takes records and trains nothing."""
