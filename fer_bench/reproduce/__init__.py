"""Tables of papers, trained again: a definition in TOML, the published numbers, and both in one table.

``definition`` reads what a table is, ``published`` finds the numbers that belong to it, ``plan`` plans the runs,
``compare`` matches measured and published numbers, and ``table`` puts them side by side.
"""
