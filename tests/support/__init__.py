"""What several tests share: builders of tiles and data roots, servers, worlds of the local Earth Engine."""
