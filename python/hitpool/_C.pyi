torch_version: str  # "2.13.0+cpu"
cuda_version: str  # "" without CUDA kernels
