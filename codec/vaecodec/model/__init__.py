"""The networks and tables of one model, and the models that are installed."""
