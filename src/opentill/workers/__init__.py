"""What runs beside the requests: ends what is due, finishes what a crash left, purges what is old."""
