"""The fundus phantom."""
