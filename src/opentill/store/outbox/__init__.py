"""What is told to merchants: the feed of events, their endpoints, and deliveries to them."""
