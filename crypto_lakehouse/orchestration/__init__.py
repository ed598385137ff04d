"""Everything that imports Dagster. It connects the functions of the pipeline, and holds no rule about data."""
