# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([Shelf.Server], strategy: :one_for_one, name: Shelf.Supervisor)
  end
end
