"""The course as web pages: demos recorded as SVG by difference, notebooks as HTML, networks that run in the page."""
