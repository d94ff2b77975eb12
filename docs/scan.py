"""Searches learning rate, depth and dropout with Optuna: each trial is a `hitpool fit` of its own.

    python docs/scan.py --trials 20 --data.train_dir events/train --data.val_dir events/val --data.test_dir events/test

Options that are not its own go to `hitpool fit`. Started again, or several times at once in one folder (the tasks of a
SLURM array), it adds trials to the same study, which is kept in `<name>.db`.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import optuna


def best_loss(run: Path) -> float:
    """Lowest validation loss of a run."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return min(float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"])


def main() -> None:
    """Adds trials to the study and prints the best one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="scan", help="name of the study; its trials are runs/<name>-<number>")
    parser.add_argument("--trials", type=int, default=20, help="number of trials")
    arguments, options = parser.parse_known_args()

    def objective(trial: optuna.Trial) -> float:
        name = f"{arguments.name}-{trial.number}"
        settings = {
            "--model.lrs_config.max": trial.suggest_float("learning rate", 3e-4, 1e-2, log=True),
            "--model.model.encoder.num_layers": trial.suggest_int("encoder layers", 1, 4),
            "--model.model.encoder.dropout": trial.suggest_float("dropout", 0.0, 0.2, step=0.05),
        }
        chosen = [f"{option}={value}" for option, value in settings.items()]
        command = [sys.executable, "-m", "hitpool.cli", "fit", f"--name={name}", *options, *chosen]
        subprocess.run(command, check=True)
        return best_loss(Path("runs") / name / "version_0")

    storage = f"sqlite:///{arguments.name}.db"
    study = optuna.create_study(storage=storage, study_name=arguments.name, load_if_exists=True)
    study.optimize(objective, arguments.trials, catch=subprocess.CalledProcessError)  # the trial then counts as failed
    print(
        f"best: runs/{arguments.name}-{study.best_trial.number}, val/loss {study.best_value:.4f}, {study.best_params}"
    )


if __name__ == "__main__":
    main()
