"""Jobs for archives of pictures: plan and make the pages, and pack them."""
