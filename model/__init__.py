"""From a data set to a trained and scored network; nothing in here knows Earth Engine."""
