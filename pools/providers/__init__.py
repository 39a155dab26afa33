"""How endpoints are started, probed, stopped and scraped. ``base`` draws the map."""
