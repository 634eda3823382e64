"""The program that reads hostile documents. It runs inside the sandbox, alone, and never in the server.

`python -I -S -B <this folder> KIND PACKAGES` takes a document on standard input and answers on standard output in
lines of JSON: one about the document, then one for each passage. It imports the standard library and its parser
packages from the folder PACKAGES, and nothing else of the product, so that this folder can be bound by itself. What
the server shares with it are the plain constants in `limits` and the scanner in `visible`.
"""
