"""Everything that imports Dagster: it wires the pipeline, and holds no rule about data of its own."""
