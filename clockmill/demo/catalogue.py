"""The names of the demo: products, places, topics. All made up but the places."""

#: Category: what it sells. Each thing comes in every one of STYLES.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "Kitchen": ("Chef's Knife", "Cast-Iron Pan", "Kettle", "Cutting Board", "Spice Rack"),
    "Coffee": ("Pour-Over Set", "Burr Grinder", "Espresso Cups", "Milk Jug", "Coffee Scale"),
    "Garden": ("Pruning Shears", "Watering Can", "Raised Bed", "Seed Box", "Garden Fork"),
    "Hiking": ("Daypack", "Trekking Poles", "Water Bottle", "Wool Socks", "Rain Jacket"),
    "Camping": ("Two-Person Tent", "Sleeping Bag", "Camp Stove", "Head Torch", "Folding Chair"),
    "Cycling": ("Pannier", "Bike Light", "Helmet", "Floor Pump", "Chain Lock"),
    "Running": ("Trail Shoes", "Running Vest", "Sports Watch", "Hydration Belt", "Reflective Band"),
    "Books": ("Atlas", "Crime Novel", "Short Stories", "Field Guide", "Cookbook"),
    "Paper": ("Notebook", "Fountain Pen", "Desk Diary", "Letter Set", "Sketchbook"),
    "Music": ("Ukulele", "Headphones", "Metronome", "Music Stand", "Record Brush"),
    "Photo": ("Tripod", "Camera Strap", "Lens Cloth", "Photo Album", "Light Meter"),
    "Games": ("Chess Set", "Card Game", "Jigsaw Puzzle", "Dice Tower", "Word Game"),
    "Toys": ("Wooden Train", "Building Blocks", "Kite", "Puppet", "Marble Run"),
    "Baby": ("Carrier", "Night Light", "Muslin Cloth", "Teether", "Play Mat"),
    "Bath": ("Bath Towel", "Soap Dish", "Shower Brush", "Bathrobe", "Laundry Basket"),
    "Bedroom": ("Duvet", "Pillow", "Bedside Lamp", "Alarm Clock", "Linen Sheets"),
    "Office": ("Desk Lamp", "Monitor Stand", "Cable Box", "Desk Chair", "Pen Tray"),
    "Tools": ("Claw Hammer", "Screwdriver Set", "Tape Measure", "Hand Plane", "Tool Roll"),
    "Pets": ("Dog Lead", "Cat Tree", "Food Bowl", "Bird Feeder", "Dog Bed"),
    "Winter": ("Wool Hat", "Mittens", "Snow Shovel", "Thermos", "Ice Cleats"),
}
STYLES = (
    "Nordic", "Compact", "Classic", "Harbour", "Alpine", "Oak", "Midnight", "Copper", "Everyday", "Travel",
    "Heritage", "Studio", "Birch", "Granite", "Featherlight", "Meadow", "Workshop", "Coastal", "Juniper", "Lantern",
)  # fmt: skip

#: Place: latitude, longitude.
PLACES: dict[str, tuple[float, float]] = {
    "oslo": (59.9139, 10.7522),
    "reykjavik": (64.1466, -21.9426),
    "london": (51.5072, -0.1276),
    "nairobi": (-1.2921, 36.8219),
    "cairo": (30.0444, 31.2357),
    "mumbai": (19.0760, 72.8777),
    "tokyo": (35.6762, 139.6503),
    "sydney": (-33.8688, 151.2093),
    "new-york": (40.7128, -74.0060),
    "buenos-aires": (-34.6037, -58.3816),
}

#: Topic: the formats its feeds come in, and who does what to what in its headlines.
TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "technology": (
        ("rss", "json"),
        ("Open-source mapping group", "Battery start-up", "University lab", "Small browser maker", "Chip designer"),
        ("releases", "drops", "tests", "delays", "gives away"),
        (
            "a phone that can be repaired",
            "its cloud plans",
            "a quieter fan",
            "an offline translator",
            "a paper-thin screen",
        ),
    ),
    "science": (
        ("atom",),
        ("Marine biologists", "Astronomers", "A field team", "Glaciologists", "Students"),
        ("count", "photograph", "rediscover", "explain", "map"),
        ("a deep-sea snail", "a distant ring system", "moss that glows", "an old riverbed", "the call of a rare owl"),
    ),
    "business": (
        ("json",),
        ("Harbour authority", "Furniture maker", "Regional bank", "Co-operative dairy", "Rail operator"),
        ("reports", "plans", "postpones", "doubles", "defends"),
        ("a night service", "its spring range", "new opening hours", "orders from abroad", "a merger of depots"),
    ),
    "sport": (
        ("rss",),
        ("Home side", "Teenage climber", "Veteran goalkeeper", "Relay team", "Newcomers"),
        ("win", "lose", "draw", "celebrate", "recover after"),
        ("the derby in the rain", "a five-set final", "the opening stage", "an away match", "a record attempt"),
    ),
    "culture": (
        ("atom", "rss"),
        ("City library", "Puppet theatre", "Young novelist", "String quartet", "Film club"),
        ("opens", "revives", "celebrates", "records", "lends out"),
        (
            "a reading room by the sea",
            "a forgotten comedy",
            "songs of the ferry",
            "a hundred posters",
            "its first festival",
        ),
    ),
}
