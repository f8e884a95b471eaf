"""A U-Net that finds the single parts in pictures of trays: trained, measured and reported here."""
