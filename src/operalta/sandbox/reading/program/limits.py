"""How much a document may hold and what its reading may yield. Constants alone: the server checks against the same."""

SOURCE_BYTES = 25 * 1024 * 1024
"""Of a document, whatever the setting for uploads allows beyond it."""

# ── What the program may answer ───────────────────────────────────────────────────────────────────────────────────────
PASSAGES = 2_000
BODY_CHARACTERS = 1_500
TEXT_CHARACTERS = PASSAGES * BODY_CHARACTERS
HEADING_CHARACTERS = 200
PLACE_CHARACTERS = 120
TITLE_CHARACTERS = 300
LINE_BYTES = 16 * 1024
"""Of one line of the answer. The longest body takes 4 bytes a character, the other fields the rest."""

OUTPUT_BYTES = 16 * 1024 * 1024

# ── Archives and XML (DOCX, PPTX, XLSX) ───────────────────────────────────────────────────────────────────────────────
DIRECTORY_BYTES = 1024 * 1024
"""Of an archive's own list of entries, before it is looked at."""

ENTRIES = 5_000
ENTRY_NAME_CHARACTERS = 400
INFLATED_BYTES = 256 * 1024 * 1024
"""Declared by all entries together, pictures too."""

PART_BYTES = 64 * 1024 * 1024
"""Inflated, of one part that is read."""

RATIO = 300
"""Inflated to packed, for entries of more than a mebibyte. Honest sheets stay below 100; deflate can reach 1,030."""

XML_DEPTH = 200
XML_PENDING_BYTES = 4 * 1024 * 1024
"""Fed to the XML parser while it waits for the end of one tag or value: it would begin anew with every piece."""

RELATIONSHIPS = 20_000
STYLES = 20_000

# ── Formats ───────────────────────────────────────────────────────────────────────────────────────────────────────────
PAGES = 2_000
SLIDES = 2_000
SHEETS = 200
ROWS = 200_000
"""Of one sheet or table."""

COLUMNS = 200
CELL_CHARACTERS = 4_000
SHARED_STRINGS = 300_000
SHARED_CHARACTERS = 32 * 1024 * 1024
"""Kept of a workbook; a cell that points to what comes after them is shown empty."""

PIXELS = 100_000_000
LONGEST_SIDE = 65_535
IMAGE_SEGMENTS = 10_000
"""Blocks looked at until the one with the dimensions."""

MARKUP_CHARACTERS = 25 * 1024 * 1024

# ── Work ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
CPU_SECONDS = 8
"""After which the program answers with what it has. The sandbox allows two more."""

PAGE_CPU_SECONDS = 2
"""Of one page of a PDF, which is then left out."""

SANDBOX_CPU_SECONDS = 10
SANDBOX_WALL_SECONDS = 30
SANDBOX_MEMORY_BYTES = 512 * 1024 * 1024
