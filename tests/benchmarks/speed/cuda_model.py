"""A model on paper of the CUDA kernels of weighted_pool: how long they take, and which limit rules. Needs no GPU.

    python tests/benchmarks/speed/cuda_model.py
    python tests/benchmarks/speed/cuda_model.py --gpu H100 --shapes 200,2,600,32 --selected 0.1 0.2

A warp goes round between memory, L2 and instructions, in whose queues it meets the other warps of its multiprocessor,
and waits for latencies. Mean value analysis of that closed network gives the time of a turn. The warps of a block do
not wait for each other, hits are selected at random, caches are cold, and what is read twice is in L2 the second time.

us: the model. memory, L2, issue, latency us: what each limit alone would allow; the largest rules. least MB: what has
to move, as in cuda_bandwidth.py. L2 MB: what L2 is asked for. flight KB: logits on their way per multiprocessor, and
what the bandwidth of a copy needs there (Little's law). share: least MB per time, of the bandwidth of a copy.

gpu-benches: the results in github.com/te42kyfo/gpu-benches.
"""

import argparse
import math
from dataclasses import dataclass

REGISTERS, THREADS, BLOCKS = 2**16, 2048, 32  # of a multiprocessor: CUDA programming guide, 8.0 and 9.0 alike
REGISTER_UNIT, SHARED_UNIT = 256, 128  # registers of a warp and bytes of a block are handed out in these: same
RESERVED = 1024  # bytes of shared memory that the system takes for each block: same
WARP = 32
SCHEDULERS = 4  # of a multiprocessor; each issues an instruction of a warp per cycle
DEPENDENT = 4  # cycles until a sum can be used (arXiv 1804.06826); each instruction is taken to need the one before
PORT = 64  # bytes per cycle from L2 to a multiprocessor (NVIDIA, Inside the Ampere architecture, GTC 2020)
COPY = 0.85  # of the bandwidth on paper: copies on A100 and H100 PCIe reach 1.73 and 1.70 of 2.04 TB/s (gpu-benches)
GROWTH = 250e-9  # s, what full load adds to the latency of memory: makes `turn` follow the reads of gpu-benches
BLOCK = 200e-9  # s, start and end of a block: a warp with one read takes that much longer than the read (gpu-benches)
VALID = 0.95  # share of hits that are not padding, as in ops.py
PACKET = 4  # features per lane: kPacket
FLOAT, INT = 4, 4  # bytes of the arithmetic and of an index


@dataclass(frozen=True)
class Gpu:
    """Data sheets (SXM); latencies, L2 and the start of a kernel as gpu-benches measured them (H100: PCIe or H200)."""

    multiprocessors: int
    bandwidth: float  # bytes/s
    l2_bandwidth: float  # bytes/s
    shared: int  # bytes per multiprocessor
    clock: float  # Hz
    latency: float  # s, of idle memory
    l2_latency: float  # s
    start: float  # s, of a kernel: an almost empty one in a CUDA graph, less a read from L2


GPUS = {
    "A100": Gpu(108, 2.039e12, 5.4e12, 164 * 1024, 1.41e9, 405e-9, 150e-9, 1.2e-6),
    "H100": Gpu(132, 3.35e12, 9.7e12, 228 * 1024, 1.7e9, 370e-9, 151e-9, 2.0e-6),
    "H200": Gpu(132, 4.8e12, 9.7e12, 228 * 1024, 1.7e9, 370e-9, 151e-9, 2.0e-6),
}


@dataclass(frozen=True)
class Kernel:
    """What the code of a kernel sets. Instructions are counted in the machine code (sm_90, float32, aligned rows)."""

    name: str
    registers: int  # float32: cuda_registers.py
    shared: int  # bytes for each warp: cuda_registers.py
    per_warp: int  # hits of a row before the warps are doubled, at most 8: kHitsPerWarp; tracks: kTracksPerWarp
    slices: int  # loads of logits of a lane and step: kSlices; tracks in backward_features: kBatch
    lane: int  # neighbouring logits that a lane loads at once
    ahead: tuple[int, ...]  # bytes of a logit with which those of the next step are on their way meanwhile
    batch: int  # rows of features (backward_features: gradients) that a group of lanes has on their way: kBatch
    block: int  # instructions of a warp for a block, whatever it finds
    step: int  # for a step over logits of which none is selected
    hit: int  # more for each 32 logits with a selected one
    rows: int  # for a batch of rows
    found: int = 0  # more for a step with a selected logit
    capacity: int = 0  # of a warp's list
    extreme: int = 0  # to find the extrema of a track in a tile; to add those of a hit
    extrema: int = 0
    around: int = 0  # for the tracks of a warp and a hit, whatever they select


FORWARD = Kernel(
    "forward", registers=80, shared=2560, per_warp=256, slices=4, lane=1, batch=4, capacity=256,
    ahead=(2,),  # what is read ahead in float32 is spilled, and so waited for
    block=900, step=71, found=112, hit=25, rows=310,
)  # fmt: skip
LOGITS = Kernel(
    "backward_logits", registers=58, shared=5760, per_warp=256, slices=4, lane=1, batch=4, capacity=480, ahead=(2, 4),
    block=450, step=131, found=113, hit=25, rows=376,
)  # fmt: skip
FEATURES = Kernel(
    "backward_features", registers=64, shared=4480, per_warp=8, slices=4, lane=1, batch=1, ahead=(),
    block=450, step=93, hit=28, rows=66, extreme=72, extrema=60, around=17,
)  # fmt: skip
KERNELS = (FORWARD, LOGITS, FEATURES)


@dataclass(frozen=True)
class Case:
    """A call: B, N, M, D, the share of the hits that a track selects, bytes of a logit and of a feature."""

    shape: tuple[int, int, int, int]
    share: float
    size: int = 4

    @property
    def union(self) -> float:
        """Hits that any track selects, of all events."""
        events, tracks, hits, _ = self.shape
        return events * hits * VALID * (1 - (1 - self.share / VALID) ** tracks)

    def some(self, hits: int) -> float:
        """Probability that some of so many hits are selected."""
        return 1 - (1 - self.share) ** hits


CASES = [((200, 2, 600, 32), 0.1), ((8, 64, 3000, 64), 0.1), ((1, 2000, 60000, 32), 0.01), ((1, 2, 60000, 32), 0.1)]


@dataclass
class Work:
    """What a launch does."""

    blocks: int
    warps: int  # of a block
    instructions: float  # of a warp
    waits: float  # of a warp for memory
    hidden: float  # of these, with the instructions of a step meanwhile
    l2_waits: float
    least: float  # bytes
    l2: float
    flight: int  # bytes of logits of a warp


def power_of_2(wanted: int, most: int) -> int:
    """The smallest power of 2 that is at least `wanted`, at most `most` (a power of 2)."""
    return min(most, 2 ** math.ceil(math.log2(max(wanted, 1))))


def blocks_at_once(kernel: Kernel, gpu: Gpu, warps: int) -> int:
    """Blocks that a multiprocessor holds at once."""
    registers = warps * -(-kernel.registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    shared = -(-(kernel.shared * warps + RESERVED) // SHARED_UNIT) * SHARED_UNIT
    return min(REGISTERS // registers, gpu.shared // shared, THREADS // (WARP * warps), BLOCKS)


def least_bytes(kernel: Kernel, case: Case) -> float:
    """Bytes of every input that matters once and of every output once: that of cuda_bandwidth.py, expected."""
    events, tracks, hits, width = case.shape
    rows, row = events * tracks, width * case.size
    logits, features, sums, index = rows * hits * case.size, events * hits * row, rows * FLOAT, rows * 2 * width * INT
    scores = logits + events * hits
    if kernel.name == "forward":
        return scores + case.union * row + rows * 4 * row + index
    if kernel.name == "backward_logits":
        return scores + case.union * row + rows * 2 * row + sums + logits
    return scores + rows * 4 * row + index + sums + features


def row_work(kernel: Kernel, case: Case) -> Work:
    """A block for each row of logits (and tile of features): forward and backward_logits."""
    events, tracks, hits, width = case.shape
    tiles, rows, row = -(-width // (WARP * PACKET)), events * tracks, width * case.size
    warps = power_of_2(-(-hits // kernel.per_warp), 8)
    groups = WARP // power_of_2(-(-width // PACKET), WARP)
    per_step = WARP * kernel.slices * kernel.lane
    steps, found = math.ceil(hits / (warps * per_step)), case.some(per_step)
    selected = hits * case.share / warps
    fills = max(1, math.ceil(selected / (kernel.capacity - per_step)))
    gathers = math.ceil(selected / (kernel.batch * groups))
    first = case.union / max(rows * hits * case.share, 1e-9)  # of the rows that are gathered, not in L2 yet
    missed = 1 - (1 - min(first, 1)) ** (kernel.batch * groups)
    backward = kernel.name == "backward_logits"
    if backward:
        blocks, gathers, again = rows, gathers * tiles, 0
    else:
        blocks, again = rows * tiles, (tiles - 1) * rows * hits * case.size  # logits for the other tiles
    instructions = kernel.block + steps * (kernel.step + found * kernel.found) + gathers * kernel.rows
    instructions += steps * per_step / WARP * case.some(WARP) * kernel.hit
    waits = steps + fills - 1 + gathers * missed + backward  # backward: sums and gradients come first
    hidden = max(0, steps - fills) if case.size in kernel.ahead else 0
    l2_waits = steps * found + gathers * (1 - missed) + backward * fills * tiles  # validity, rows, gradients
    least = least_bytes(kernel, case)
    asked = least + again + rows * hits * (case.some(WARP) + case.share * row) - case.union * row
    return Work(blocks, warps, instructions, waits, hidden, l2_waits, least, asked, per_step * case.size)


def most_of(groups: int, run: int, share: float) -> float:
    """Expected number of tracks, of `run`, that select a hit, for the one of `groups` hits with the most."""
    below, total = 0.0, 0.0
    for k in range(run):
        below += math.comb(run, k) * share**k * (1 - share) ** (run - k)
        total += 1 - min(below, 1) ** groups
    return total


def feature_work(kernel: Kernel, case: Case) -> Work:
    """A block for each 32 hits (and tile of features): backward_features."""
    events, tracks, hits, width = case.shape
    tiles, rows, row = -(-width // (WARP * PACKET)), events * tracks, width * case.size
    warps = power_of_2(-(-tracks // kernel.per_warp), 8)
    run = min(max(-(-tracks // warps), 1), 32)
    passes, hit_tiles = math.ceil(tracks / (warps * run)), -(-hits // WARP)
    groups = WARP // power_of_2(-(-width // PACKET), WARP)
    mine, slots = tracks / warps, math.ceil(WARP / (warps * groups))  # tracks to find, hits to add, of a warp
    steps, seen = max(passes, math.ceil(mine / kernel.slices)), mine * case.some(WARP)
    adds = slots * passes * warps * most_of(groups, run, case.share) / kernel.batch
    row_hits = max(hits * case.share, 1)
    extreme = 1 - (1 - 1 / row_hits) ** (2 * width)  # probability that a selected hit is an extremum
    any_extreme = 1 - (1 - extreme) ** groups
    instructions = kernel.block + steps * kernel.step + seen * (kernel.hit + kernel.extreme)
    instructions += slots * passes * warps * kernel.around
    instructions += adds * kernel.batch * (kernel.rows + any_extreme * kernel.extrema)
    hidden = max(0, steps - passes) if case.size in kernel.ahead else 0
    l2_waits = passes + seen + adds * (1 + any_extreme)  # sums, extrema, gradients
    least, extrema = least_bytes(kernel, case), 2 * width * INT
    asked = least + (tiles - 1) * rows * hits * case.size + rows * hit_tiles * (tiles * 32 + case.some(WARP) * extrema)
    asked += rows * hits * case.share * (2 * row + extreme * (2 * row + extrema))  # before: a sector for a sum
    flight = kernel.slices * WARP * kernel.lane * case.size
    blocks = events * hit_tiles * tiles
    return Work(blocks, warps, instructions, 1 + steps, hidden, l2_waits, least, asked, flight)


@dataclass
class Prediction:
    """Times in seconds; blocks of a multiprocessor at once; bytes on their way and needed."""

    work: Work
    seconds: float
    limits: dict[str, float]
    at_once: int
    flight: float
    needed: float

    @property
    def rule(self) -> str:
        return max(self.limits, key=lambda name: self.limits[name])


def turn(delay: float, demands: list[float], growth: float, customers: int) -> float:
    """Seconds of a turn of one of several customers: mean value analysis of a delay and servers, the memory first.

    `growth` is what full load of the memory adds to the delay.
    """
    queues, load, total = [0.0] * len(demands), 0.0, 0.0
    for number in range(1, customers + 1):
        times = [demand * (1 + queue) for demand, queue in zip(demands, queues, strict=True)]
        total = delay + growth * load + sum(times)
        queues, load = [number * time / total for time in times], number * demands[0] / total
    return total


def predict(kernel: Kernel, gpu: Gpu, case: Case) -> Prediction:
    """Time of a launch, and what each limit alone would allow."""
    work = (feature_work if kernel.name == "backward_features" else row_work)(kernel, case)
    at_once, active = blocks_at_once(kernel, gpu, work.warps), min(work.blocks, gpu.multiprocessors)
    busiest = -(-work.blocks // gpu.multiprocessors)  # blocks of a multiprocessor: `at_once` at a time, then the rest
    full, rest = divmod(busiest, at_once)
    ports = PORT * gpu.clock * active
    limits = {
        "memory": work.least / min(COPY * gpu.bandwidth, ports),
        "L2": work.l2 / min(gpu.l2_bandwidth, ports),
        "issue": busiest * work.warps * work.instructions / (SCHEDULERS * gpu.clock),
    }
    of_warp = active / (work.blocks * work.warps)  # of what a multiprocessor does
    demands = [limits["memory"] * of_warp, limits["L2"] * of_warp, limits["issue"] / (busiest * work.warps)]
    cycle = DEPENDENT / gpu.clock
    delay = BLOCK + work.instructions * cycle + work.waits * gpu.latency + work.l2_waits * gpu.l2_latency
    delay -= work.hidden * min(gpu.latency, kernel.step * cycle)
    turns = [at_once] * full + [rest] * (rest > 0)
    times = {blocks: turn(delay, demands, work.waits * GROWTH, blocks * work.warps) for blocks in set(turns)}
    seconds = gpu.start + sum(times[blocks] for blocks in turns)
    limits["latency"] = gpu.start + len(turns) * (delay + sum(demands))
    needed = COPY * gpu.bandwidth / gpu.multiprocessors * (gpu.latency + GROWTH)
    return Prediction(work, seconds, limits, at_once, max(turns) * work.warps * work.flight, needed)


def markdown(kernel: Kernel, gpus: list[str], cases: list[Case]) -> str:
    """The table of a kernel."""
    titles = ["B, N, M, D", "selected", "dtype", "GPU", "blocks", "warps", "at once", "least MB", "L2 MB", "flight KB"]
    titles += ["us", "memory us", "L2 us", "issue us", "latency us", "rules", "share"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for case in cases:
        for name in gpus:
            found = predict(kernel, GPUS[name], case)
            work, copy = found.work, COPY * GPUS[name].bandwidth
            cells = [str(case.shape).strip("()"), f"{case.share:.3g}", {4: "float32", 2: "bfloat16"}[case.size], name]
            cells += [str(work.blocks), str(work.warps), str(found.at_once)]
            cells += [f"{work.least / 1e6:.1f}", f"{work.l2 / 1e6:.1f}"]
            cells += [f"{found.flight / 1e3:.1f} of {found.needed / 1e3:.1f}"]
            cells += [f"{1e6 * seconds:.1f}" for seconds in (found.seconds, *found.limits.values())]
            cells += [found.rule, f"{work.least / found.seconds / copy:.2f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Prints a table for each kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", nargs="+", choices=list(GPUS), default=list(GPUS))
    parser.add_argument("--shapes", nargs="+", metavar="B,N,M,D")
    parser.add_argument("--selected", nargs="+", type=float, default=[0.1], help="with --shapes: shares of the hits")
    options = parser.parse_args()
    shapes = [tuple(map(int, text.split(","))) for text in options.shapes or []]
    pairs = [(shape, share) for shape in shapes for share in options.selected] or CASES
    cases = [Case(shape, share, size) for shape, share in pairs for size in (4, 2)]
    for kernel in KERNELS:
        print(f"{kernel.name}\n\n{markdown(kernel, options.gpu, cases)}\n")


if __name__ == "__main__":
    main()
