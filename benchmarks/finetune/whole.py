"""One whole fine-tuning, from texts to a head, in a process of its own: ours, or the Hugging Face Trainer's.

``python -m benchmarks.finetune.whole '{"zoo": …, "team": …, "library": …, "seed": …}'`` prints JSON: seconds, and what
the best epoch answers on the valid split. Both train the same head for the same epochs in the same batches, and keep
the epoch of the best metric. Importing libraries is not counted; loading the backbone and tokenising is.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging

from backbone.load import MINILM_PACKAGE
from benchmarks.finetune.bench import prepared
from heads.base.building.fingerprint import source_folder
from heads.base.building.ingredients import Ingredients
from heads.base.tasks.metrics import measure
from heads.base.tasks.modules import HeadStage, make_head
from heads.base.tasks.targets import answer_of
from heads.base.training import answers_of, encode, outputs_of, train_head
from zoo import Zoo
from zoo.features import FeatureCache

__all__ = ["LIBRARIES"]

LONGEST = 256


def with_ours(zoo: Zoo, team: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune as ``zoo head train`` does, with an empty feature cache and without export and gate."""
    with tempfile.TemporaryDirectory() as scratch:
        zoo.features.close()
        zoo.features = FeatureCache(Path(scratch) / "features.sqlite")
        bench, ingredients = prepared(zoo, team, **recipe)
        splits = ingredients.labels.for_training()
        started = time.monotonic()
        rows = [bench.rows(examples) for examples in (splits.train, splits.valid)]
        features = [bench.features(each) for each in rows]
        network, valid, trained = train_head(
            bench.network,
            lambda head: (
                encode(head, splits.train, rows[0], features[0]),
                encode(head, splits.valid, rows[1], features[1]),
            ),
            ingredients.recipe,
        )
        seconds = time.monotonic() - started
        found = answers_of(answer_of(network.task), outputs_of(network, valid), valid.rows)
    return {"seconds": seconds, "found": found, "epochs": trained.epochs}


class FrozenBody(nn.Module):
    """A body that is never trained, and a head on it; the loss is the recipe's."""

    def __init__(self, body: nn.Module, head: HeadStage, smoothing: float) -> None:
        super().__init__()
        self.body = body.requires_grad_(False)
        self.head = head
        self.smoothing = smoothing

    def train(self, mode: bool = True) -> "FrozenBody":
        """Train the head alone: frozen means without dropout in the body, too."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        places: Tensor,  # noqa: ARG002 - for whoever judges: the Trainer passes on what the model takes
    ) -> dict[str, Tensor]:
        """Return the loss and the (N, C) logits of (N, T) tokens; the places of examples in their split say nothing."""
        with torch.no_grad():
            tokens_NTD = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            reduced = self.head.reduce(tokens_NTD, attention_mask)
        logits_NC = self.head.logits(*reduced)
        smoothing = self.smoothing if self.training else 0.0
        return {"loss": F.cross_entropy(logits_NC, labels, label_smoothing=smoothing), "logits": logits_NC}


def with_transformers(zoo: Zoo, team: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune with the Trainer, as its documentation shows it for a frozen body; nothing is written meanwhile."""
    bench, ingredients = prepared(zoo, team, **recipe)
    torch.manual_seed(ingredients.recipe.seed)
    head = make_head(ingredients.package.head, ingredients.recipe, bench.prefix.available)
    labels = ingredients.package.head.task.labels
    splits = ingredients.labels.for_training()
    best: dict[str, Any] = {"score": -1.0, "found": []}

    def judge(prediction: EvalPrediction) -> dict[str, float]:
        places = np.asarray(prediction.label_ids)[1]  # rows come by length, and not in the order of the split
        answered = np.asarray(prediction.predictions).argmax(axis=1)
        found = [labels[index] for index in answered[np.argsort(places)]]
        score = measure(head.task, [example.target for example in splits.valid], found)[head.task.metrics[0]]
        if score > best["score"]:
            best.update(score=score, found=found)
        return {"score": score}

    folder = source_folder("minilm")
    assert folder is not None, f"{MINILM_PACKAGE} is not installed"
    with tempfile.TemporaryDirectory() as scratch:
        started = time.monotonic()
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        body = AutoModel.from_pretrained(folder / "model", dtype=torch.float32)

        def tokenized(examples: Any) -> list[dict[str, Any]]:
            ids = tokenizer([example.text for example in examples], truncation=True, max_length=LONGEST)["input_ids"]
            return [
                {
                    "input_ids": row,
                    "attention_mask": [1] * len(row),
                    "labels": labels.index(example.target),
                    "places": place,
                }
                for place, (row, example) in enumerate(zip(ids, examples, strict=True))
            ]

        trainer = Trainer(
            model=FrozenBody(body, head, ingredients.recipe.label_smoothing),
            args=_arguments(ingredients, scratch),
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=tokenized(splits.train),
            eval_dataset=tokenized(splits.valid),
            compute_metrics=judge,
        )
        trainer.remove_callback(PrinterCallback)  # stdout is for the result
        trainer.train()
        seconds = time.monotonic() - started
    return {"seconds": seconds, "found": best["found"], "epochs": ingredients.recipe.epochs}


def _arguments(ingredients: Ingredients, folder: str) -> TrainingArguments:
    recipe = ingredients.recipe
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip_norm,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warm_up,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        label_names=["labels", "places"],
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=recipe.seed,
    )


LIBRARIES = {"ours": with_ours, "transformers": with_transformers}


def main(order: dict[str, Any]) -> None:
    """Fine-tune as ordered and print what came of it."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with Zoo.open(order["zoo"]) as zoo:
        print(json.dumps(LIBRARIES[order["library"]](zoo, order["team"], order["recipe"])))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
