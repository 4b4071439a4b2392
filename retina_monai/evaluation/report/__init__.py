"""The report: its page, tables, plots and MLflow run."""
