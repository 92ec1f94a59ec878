"""What merchants are told: listening, deliveries, triggers and signatures."""
