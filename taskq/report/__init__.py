"""A picture of what ran: one page for a browser, or a trace for Perfetto, from the results that are still kept."""
