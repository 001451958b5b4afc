"""The pictures of the five lectures: `page` writes them, the others draw them (needs `fastlin[plot,features]`)."""
