"""The JSON API under `/api/v1`: one file a resource, each thin over one service."""

from fastapi import APIRouter

routers: tuple[APIRouter, ...] = ()
