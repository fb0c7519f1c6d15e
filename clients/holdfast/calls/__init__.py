"""What each method of the client sends and how it reads the answer: plain functions.

Each builds a `Call`; the sync and the asyncio client only differ in how they wait for it.
"""
