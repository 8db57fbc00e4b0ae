"""The two-branch network that this family of models goes back to, in PyTorch and on ready features."""

import torch
from torch import nn

MELS, FRAMES, CLASSES = 128, 563, 8


class Original(nn.Module):
    """Log-mel spectrogram `(batch, 1, mels, frames)` in, `(batch, classes)` log-probabilities out."""

    def __init__(self, units: int = 64):
        super().__init__()
        channels, pools = (1, 16, 32, 64, 64), (2, 4, 4, 4)
        self.conv = nn.Sequential(*map(_block, channels, channels[1:], pools), nn.Flatten())
        self.pool = nn.MaxPool2d((2, 4))
        self.lstm = nn.LSTM(MELS // 2, units, batch_first=True, bidirectional=True)
        self.score = nn.Sequential(nn.Linear(2 * units, 2 * units), nn.Tanh(), nn.Linear(2 * units, 1))
        self.out = nn.Linear(256 + 2 * units, CLASSES)

    def forward(self, image):
        steps = self.pool(image).squeeze(1).transpose(1, 2)  # (batch, 140, 64)
        states, _ = self.lstm(steps)  # (batch, 140, 2 * units)
        context = (torch.softmax(self.score(states), dim=1) * states).sum(dim=1)
        return torch.log_softmax(self.out(torch.cat([self.conv(image), context], dim=1)), dim=1)


def _block(channels_in: int, channels_out: int, pool: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(pool),
        nn.Dropout(0.3),
    )


def training_step(size: int):
    """Return a function without arguments that runs forward, backward and Adam on one batch."""
    model = Original().train()
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = torch.randn(size, 1, MELS, FRAMES), torch.arange(size) % CLASSES

    def step():
        optimizer.zero_grad()
        nn.functional.nll_loss(model(images), labels).backward()
        optimizer.step()

    return step
