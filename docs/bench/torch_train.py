"""Training speed of PyTorch at the shapes of "trit bench --train", for --compare.

usage: torch_train.py eager|compile [THREADS [d,vocab,rows,window ...]]

Prints a table with the columns test and t/s, as llama-bench does. The model is a
BitNet b1.58 decoder with quantization-aware training: 4 layers, heads of 64 with
two to a key head, relu2 gate, sub-norms, tied embedding, fused AdamW. The
straight-through estimator is written with detach(): as an autograd.Function some
versions compile it to zero gradients. The loss must fall, or the run fails.
"""
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def straight(x, q):
    return x + (q - x).detach()


class BitLinear(nn.Module):
    def __init__(self, k, n):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, k) * 0.02)

    def forward(self, x):
        s = 127.0 / x.detach().abs().amax(-1, keepdim=True).clamp(min=1e-5)
        xq = straight(x, (x.detach() * s).round().clamp(-128, 127) / s)
        w = self.weight.detach()
        g = 1.0 / w.abs().mean().clamp(min=1e-5)
        return F.linear(xq, straight(self.weight, (w * g).round().clamp(-1, 1) / g))


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.h, self.kv, ff = d // 64, d // 128, d * 43 // 16
        self.n1, self.n2, self.na, self.nf = Norm(d), Norm(d), Norm(d), Norm(ff)
        self.q, self.k, self.v = BitLinear(d, d), BitLinear(d, self.kv * 64), BitLinear(d, self.kv * 64)
        self.o, self.gate, self.up, self.down = BitLinear(d, d), BitLinear(d, ff), BitLinear(d, ff), BitLinear(ff, d)

    def forward(self, x, cos, sin):
        b, s, d = x.shape
        n = self.n1(x)
        heads = lambda y, h: y.view(b, s, h, 64).transpose(1, 2)
        q, k, v = heads(self.q(n), self.h), heads(self.k(n), self.kv), heads(self.v(n), self.kv)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(self.h // self.kv, 1), v.repeat_interleave(self.h // self.kv, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, d)
        x = x + self.o(self.na(a))
        n = self.n2(x)
        return x + self.down(self.nf(F.relu(self.gate(n)).square() * self.up(n)))


class Model(nn.Module):
    def __init__(self, d, vocab, window):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.layers, self.norm = nn.ModuleList(Layer(d) for _ in range(4)), Norm(d)
        a = torch.outer(torch.arange(window).float(), 10000.0 ** (-torch.arange(0, 64, 2).float() / 64))
        self.register_buffer("cos", a.cos())
        self.register_buffer("sin", a.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def rate(mode, d, vocab, rows, window):
    torch.manual_seed(0)
    m = Model(d, vocab, window)
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids, targets = torch.randint(0, vocab, (2, rows, window))
    f = torch.compile(m) if mode == "compile" else m
    times, losses = [], []
    while len(times) < 8 or sum(times[4:]) < 2:
        start = time.perf_counter()
        loss = f(ids, targets)
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    if not losses[-1] < losses[0] - 0.05:
        sys.exit(f"the loss went from {losses[0]} to {losses[-1]}: it does not train")
    print(f"d{d} v{vocab}: loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps", file=sys.stderr)
    return rows * window / statistics.median(times[4:])


mode = sys.argv[1]
torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
shapes = [[int(v) for v in a.split(",")] for a in sys.argv[3:]] or [[256, 512, 8, 128], [256, 8192, 8, 128]]
print("| test | t/s |")
for d, vocab, rows, window in shapes:
    print(f"| d{d}/v{vocab}/{rows}x{window} | {rate(mode, d, vocab, rows, window):.1f} |", flush=True)
