"""The report: page, tables, plots and MLflow run."""
