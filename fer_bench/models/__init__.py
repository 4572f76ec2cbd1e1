"""Networks, their pre-trained weights, and how they compute."""
