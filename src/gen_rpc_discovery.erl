%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Stateless discovery of ports: the one that a node listens on follows from its name, so nodes on
%% one host find each other without being told.
-module(gen_rpc_discovery).

-export([port/1]).

-define(BASE, 5370).

%% Of name<N>@host: 5370 + N, and 5370 without digits. `too_high': it is over 65535.
-spec port(node()) -> {ok, inet:port_number()} | {too_high, pos_integer()}.
port(Node) ->
    [Name | _Host] = string:split(atom_to_list(Node), "@"),
    case ?BASE + last_number(Name) of
        Port when Port =< 65535 -> {ok, Port};
        Port -> {too_high, Port}
    end.

last_number(Name) ->
    case lists:takewhile(fun(C) -> C >= $0 andalso C =< $9 end, lists:reverse(Name)) of
        [] -> 0;
        Digits -> list_to_integer(lists:reverse(Digits))
    end.
