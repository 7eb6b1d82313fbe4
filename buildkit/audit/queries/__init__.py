"""The questions: one module each for those that read alike. SQLAlchemy Core, and nothing else."""
