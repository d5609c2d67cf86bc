"""The paper-doll people of the embedded sample data: canvas, outfits, figures, heads and backdrops."""
