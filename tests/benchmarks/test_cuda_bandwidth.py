"""The parts of cuda_bandwidth.py that need no GPU."""

import pytest
import torch
from speed import cuda_bandwidth

from hitpool.ops import reference

NCU = """\
==PROF== Connected to process 4711 (/usr/bin/python3)
some line of the program, "quoted"
==PROF== Disconnected from process 4711
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC",\
"Section Name","Metric Name","Metric Unit","Metric Value"
"0","1","python3","host","void hitpool::cuda::forward_kernel<float, float, float>(Problem<T1, T2, T3>, T3 *)","1","7",\
"(128, 1, 1)","(400, 1, 1)","0","9.0","Command line profiler metrics","dram__bytes_read.sum","byte","6,000,000"
"0","1","python3","host","void hitpool::cuda::forward_kernel<float, float, float>(Problem<T1, T2, T3>, T3 *)","1","7",\
"(128, 1, 1)","(400, 1, 1)","0","9.0","Command line profiler metrics","dram__bytes_write.sum","Kbyte","500"
"0","1","python3","host","void hitpool::cuda::forward_kernel<float, float, float>(Problem<T1, T2, T3>, T3 *)","1","7",\
"(128, 1, 1)","(400, 1, 1)","0","9.0","Command line profiler metrics","gpu__time_duration.sum","ns","5,000"
"""


def test_reads_what_ncu_prints_and_compares_it_with_a_copy():
    launches = cuda_bandwidth.read_ncu(NCU.splitlines())
    assert len(launches) == 1
    assert launches[0][cuda_bandwidth.WRITTEN] == 500_000
    expected = [cuda_bandwidth.Launch("(200, 2, 600, 32)", "forward_kernel", 8_000_000, 9_000_000)]
    table = cuda_bandwidth.markdown(expected, launches, copy=4e12)
    assert table.splitlines()[-1] == "| (200, 2, 600, 32) | forward | 5.0 | 6.5 | 8.0 | 9.0 | 1600 | 0.40 |"


def test_refuses_what_it_does_not_understand():
    with pytest.raises(ValueError, match="expected the table of ncu"):
        cuda_bandwidth.read_ncu(["==ERROR== no permission"])
    with pytest.raises(ValueError, match=r"expected a unit of .* got furlong"):
        cuda_bandwidth.read_ncu(NCU.replace('"ns"', '"furlong"').splitlines())
    other = [cuda_bandwidth.Launch("", "backward_logits_kernel", 1, 1)]
    with pytest.raises(ValueError, match=r"expected the kernels .'backward_logits_kernel'., got"):
        cuda_bandwidth.markdown(other, cuda_bandwidth.read_ncu(NCU.splitlines()), 1e12)


def test_bytes_that_must_move():
    logits = torch.tensor([[[9.0, 9.0, -9.0, 9.0], [9.0, -9.0, -9.0, -9.0]]])  # [1, 2, 4]
    valid = torch.tensor([[True, True, True, False]])
    features = torch.ones(1, 4, 5)
    assert reference.weighted_pool(logits, features, valid)[0, :, 1, 0].round().tolist() == [2, 1]  # hits per track
    forward, to_logits, to_features = cuda_bandwidth.expected_launches("", logits, features, valid, 0.1, backward=True)
    scores, pooled, index, sums = 8 * 4 + 4, 2 * 4 * 5 * 4, 2 * 2 * 5 * 4, 2 * 4
    assert forward.gathered == 3 * 5 * 4
    assert forward.least == scores + 2 * 5 * 4 + pooled + index
    assert to_logits.least == scores + 2 * 5 * 4 + pooled // 2 + sums + 8 * 4
    assert to_features.least == scores + pooled + index + sums + 4 * 5 * 4
    (alone,) = cuda_bandwidth.expected_launches("", logits, features, valid, 0.1, backward=False)
    assert alone.least == forward.least - index
