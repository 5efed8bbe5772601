"""The loaders: how programs and maps get into the kernel, by libbpf or by bcc."""
